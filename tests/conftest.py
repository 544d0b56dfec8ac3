import gc
import os
import shutil
import signal
import uuid

os.environ.setdefault("DS_ACCELERATOR", "cpu")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("MPLBACKEND", "Agg")
os.environ["XLRAY_STORAGE"] = "storage-that-no-test-may-make"  # a test that needs one names it

import hypothesis
import light
import pytest

# Under `nohup`, or in a shell's background, a signal is ignored by this process and by every command under test. With a
# handler that does nothing it still is by this one alone.
for number in (signal.SIGHUP, signal.SIGINT):
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, lambda *_: None)

hypothesis.settings.register_profile("patient", deadline=None)  # a busy machine is no fault of the code
hypothesis.settings.load_profile("patient")


def pytest_addoption(parser):
    parser.addoption("--light", action="store_true", help="Only files that load neither torch nor Ray; `make check`.")


def pytest_configure(config):
    if config.getoption("--light"):
        config.option.markexpr = f"({config.option.markexpr}) and not ray and not browser and not prometheus"


def pytest_ignore_collect(collection_path, config):
    heavy = collection_path.name.startswith("test_") and not light.is_light(collection_path)
    return True if config.getoption("--light") and heavy else None


# Files that take longest, of those that start no Ray.
LONG = (
    "test_engine.py",
    "test_ranks.py",
    "test_train.py",
    "test_bench_training.py",
    "test_situations.py",
    "test_real_data.py",
)


def pytest_collection_modifyitems(items):
    """Among several processes (`pytest -n`) what takes long comes first: a process that is left with it would end last.

    That is what starts Ray, and then `LONG` in its order.
    """

    def place(item):
        starts_ray = item.get_closest_marker("ray") is not None
        return -1 if starts_ray else LONG.index(item.path.name) if item.path.name in LONG else len(LONG)

    if "PYTEST_XDIST_WORKER" in os.environ:
        items.sort(key=place)


def pytest_collection_finish():
    """What was imported stays: collections of garbage, with which each engine ends, need not look through it."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def embedded_records_are_generated_once(request, tmp_path_factory):
    """For all processes of a run, and in pytest's cache, unless that is turned off, for the runs after it."""
    import embedded_records

    root = tmp_path_factory.getbasetemp()
    folder = (root.parent if "PYTEST_XDIST_WORKER" in os.environ else root) / "embedded-records"
    if (cache := getattr(request.config, "cache", None)) is not None:
        folder = embedded_records.kept(cache.mkdir("embedded-records"))
    with embedded_records.generated_once(folder):
        yield


@pytest.fixture(scope="session")
def process_group(tmp_path_factory):
    """This process as the only rank of a gloo process group."""
    import torch
    import torch.distributed as dist

    os.environ.update(RANK="0", WORLD_SIZE="1", LOCAL_RANK="0")
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{tmp_path_factory.mktemp('gloo')}/init", rank=0, world_size=1)
    yield
    dist.destroy_process_group()
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"):
        os.environ.pop(name, None)


@pytest.fixture(scope="session")
def s3_server():
    """A real S3 server on the loopback; sets the AWS_* variables of this process."""
    from s3_server import start_server

    before = dict(os.environ)
    server, stop = start_server()
    yield server
    stop()
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture
def s3_uri(s3_server):
    """A fresh storage on it, without faults and without requests."""
    s3_server.fault = lambda method, path: None
    s3_server.requests.clear()
    yield f"s3://bucket/{uuid.uuid4().hex[:8]}"
    s3_server.fault = lambda method, path: None


@pytest.fixture(scope="session")
def gcs_server():
    """A server on the loopback that speaks Google Cloud Storage's protocol, without TLS and credentials."""
    from gcs_server import start_server

    server, stop = start_server()
    os.environ["GOOGLE_SERVICE_ACCOUNT_KEY"] = server.service_account
    yield server
    stop()
    del os.environ["GOOGLE_SERVICE_ACCOUNT_KEY"]


@pytest.fixture
def gcs_uri(gcs_server):
    """A fresh storage on it, without requests."""
    gcs_server.requests.clear()
    return f"gs://bucket/{uuid.uuid4().hex[:8]}"


@pytest.fixture(scope="module")
def browser():
    """A headless Chromium."""
    playwright = pytest.importorskip("playwright.sync_api")
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("no chromium on this machine")
    with playwright.sync_playwright() as running:
        started = running.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield started
        started.close()
