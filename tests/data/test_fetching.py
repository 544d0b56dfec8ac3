"""Publishers' files from a server of this machine: checked, resumed, locked, and readable by the tasks."""

import hashlib
import io
import json
import tarfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from xlray.data import fetching, publishers
from xlray.data.fetching import LOCK_FILE, download, fetch_tasks, progress_line
from xlray.data.publishers import PUBLICATIONS, Address, Publication, unpack_pairs
from xlray.data.registry import ALL_TASKS
from xlray.errors import DownloadError, InputError
from xlray.tasks.load import load_records


class Server:
    """Files by path.

    Attributes:
        asked: (path, Range or None) of each request.
        breaks: how many answers end after half of what they announced.
        refuses: path to a status that it is answered with.
        url: where it answers.
        versions: what names the version of a file: "ETag", "Last-Modified" or nothing.
    """

    def __init__(self):
        self.url = ""
        self.files, self.asked, self.breaks, self.refuses, self.versions = {}, [], 0, {}, "ETag"


@pytest.fixture
def server(monkeypatch):
    found = Server()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            found.asked.append((self.path, self.headers.get("Range")))
            if status := found.refuses.get(self.path) or (404 if self.path not in found.files else 0):
                self.send_error(status)
                return
            content = found.files[self.path]
            version = hashlib.sha256(content).hexdigest()
            same = self.headers.get("If-Range") == version
            start = int((self.headers.get("Range") or "bytes=0-")[6:-1]) if same else 0
            if start >= len(content):
                self.send_error(416)
                return
            self.send_response(206 if start else 200)
            self.send_header("Content-Length", str(len(content) - start))
            if found.versions:
                self.send_header(found.versions, version)
            self.end_headers()
            if found.breaks:
                found.breaks -= 1
                content = content[: start + (len(content) - start) // 2]
            self.wfile.write(content[start:])

        def log_message(self, *args):
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=http.serve_forever, args=(0.02,), daemon=True).start()
    found.url = f"http://127.0.0.1:{http.server_address[1]}"
    monkeypatch.setattr("xlray.data.fetching.time.sleep", lambda seconds: None)
    yield found
    http.shutdown()
    http.server_close()


def of(url):
    return f"/{url.partition('://')[2]}"


def sentence(*words):
    lines = ["# text = x"]
    for place, (form, tag) in enumerate(words, start=1):
        lines.append("\t".join([str(place), form, "_", tag, *["_"] * 6]))
    return "\n".join([*lines, "", ""])


def treebanks(more=()):
    """An archive with a treebank of each language, two of Finnish, and files that nothing is made of."""
    files = {
        f"ud/UD_X/{code}_x-ud-{split}.conllu": sentence((f"{code}{split}", "NOUN"), ("on", "VERB"))
        for code in publishers.LANGUAGES
        for split in ("train", "dev", "test")
    }
    files["ud/UD_A/fi_a-ud-dev.conllu"] = (
        "1-2\tettei\t_\t_\t_\t_\t_\t_\t_\t_\n"
        + sentence(("et tä\u200c", "SCONJ"), ("ei", "AUX"))
        + sentence(("_", "X"), ("_", "X"))
    )
    files |= {"ud/UD_X/fro_x-ud-dev.conllu": sentence(("vieus", "ADJ")), "ud/README.txt": "read"}
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as tar:
        for name, text in {**files, **dict(more)}.items():
            member = tarfile.TarInfo(name)
            member.size = len(text.encode())
            tar.addfile(member, io.BytesIO(text.encode()))
    return out.getvalue()


def questions(*languages):
    data = []
    for language in languages:
        answers = [{"text": "Oulu", "answer_start": 0}]
        asked = [{"id": f"{language}-1-0", "question": f"{language}?", "answers": answers}]
        data.append({"title": language, "paragraphs": [{"context": "Oulu on kaupunki.", "qas": asked}]})
    return json.dumps({"version": "v1.1", "data": data}).encode()


@pytest.fixture
def filled(server, monkeypatch):
    """The server with files of every publication."""
    (archive,) = PUBLICATIONS["udpos"].addresses
    server.files[of(archive.url)] = treebanks()
    for address in PUBLICATIONS["tydiqa"].addresses:
        server.files[of(address.url)] = questions("english", "finnish", "korean")
    addresses = []
    for address in PUBLICATIONS["tatoeba"].addresses:
        content = f"A sentence of {address.name}.\nAnother one.\n".encode()
        server.files[of(address.url)] = content
        addresses.append(Address(address.url, hashlib.sha256(content).hexdigest()))
    monkeypatch.setitem(PUBLICATIONS, "tatoeba", Publication("tatoeba", tuple(addresses), unpack_pairs))
    return server


def fetch(server, to, *names):
    return {one.task: one for one in fetch_tasks(names, to, lambda text: None, server.url)}


def test_what_is_fetched_is_what_the_tasks_read(filled, tmp_path):
    found = fetch(filled, tmp_path)
    assert {name: one.status for name, one in found.items()} == {
        "udpos": "fetched",
        "tydiqa": "fetched",
        "tatoeba": "fetched",
        "panx": "skipped",
    }
    assert "Hub" in found["panx"].note
    udpos = list(load_records(ALL_TASKS["udpos"], "dev/fi", tmp_path))
    assert [record["tokens"] for record in udpos] == [
        ["että", "ei"],
        ["fidev", "on"],
    ]  # by name; without a sentence of no text
    assert [record["tags"] for record in udpos] == [["SCONJ", "AUX"], ["NOUN", "VERB"]]
    assert [r["tokens"][0] for r in load_records(ALL_TASKS["udpos"], "train/en", tmp_path)] == ["entrain"]
    for split in ("train/en", "dev/fi", "test/fi"):
        (question,) = load_records(ALL_TASKS["tydiqa"], split, tmp_path)
        assert question["question"] == ("finnish?" if split.endswith("fi") else "english?")
    pairs = list(load_records(ALL_TASKS["tatoeba"], "all/fi", tmp_path))
    assert [pair["text_pair"] for pair in pairs] == ["A sentence of tatoeba.fin-eng.fin.", "Another one."]
    assert not list((tmp_path / ".downloads").iterdir())


def test_a_second_fetch_asks_for_nothing_and_a_file_that_changed_is_fetched_again(filled, tmp_path):
    first = fetch(filled, tmp_path, "tatoeba")["tatoeba"]
    asked = len(filled.asked)
    again = fetch(filled, tmp_path, "tatoeba")["tatoeba"]
    assert (again.status, again.downloads, len(filled.asked)) == ("present", first.downloads, asked)
    (tmp_path / "tatoeba" / "tatoeba.fin-eng.fin").write_text("changed\n")
    assert fetch(filled, tmp_path, "tatoeba")["tatoeba"].status == "fetched" and len(filled.asked) == 2 * asked


def test_a_checksum_that_was_not_known_is_written_down_and_holds_from_then_on(filled, tmp_path):
    found = fetch(filled, tmp_path, "tydiqa")["tydiqa"]
    (train, _) = PUBLICATIONS["tydiqa"].addresses
    content = filled.files[of(train.url)]
    known = {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content), "known": False}
    assert found.downloads[train.url] == known
    assert json.loads((tmp_path / LOCK_FILE).read_text())["tydiqa"]["downloads"][train.url] == known
    (tmp_path / "tydiqa" / "english_tydiqa_train.json").unlink()
    filled.files[of(train.url)] = questions("english", "finnish", "korean", "swahili")
    with pytest.raises(InputError, match=f"its SHA-256 must be {known['sha256']}, but is"):
        fetch(filled, tmp_path, "tydiqa")


def test_a_file_that_is_not_the_one_of_the_repository_is_refused_and_deleted(filled, tmp_path):
    address = PUBLICATIONS["tatoeba"].addresses[0]
    filled.files[of(address.url)] += b"!"
    with pytest.raises(InputError, match=f"{address.sha256}, but is .*; the file was deleted"):
        fetch(filled, tmp_path, "tatoeba")
    assert not (tmp_path / "tatoeba").exists() and not (tmp_path / LOCK_FILE).exists()
    assert not (tmp_path / ".downloads" / "tatoeba" / address.name).exists()


@pytest.mark.parametrize("versions", ["ETag", "Last-Modified"])
def test_a_download_that_broke_is_continued_where_it_ended(server, tmp_path, versions):
    server.files["/x.bin"], server.breaks, server.versions = bytes(range(256)) * 40, 2, versions
    said = []
    download(f"{server.url}/x.bin", tmp_path / "x.bin", said.append)
    assert (tmp_path / "x.bin").read_bytes() == server.files["/x.bin"]
    assert server.asked == [("/x.bin", None), ("/x.bin", "bytes=5120-"), ("/x.bin", "bytes=7680-")]
    assert said.count("x.bin: trying again") == 2 and [path.name for path in tmp_path.iterdir()] == ["x.bin"]


def test_a_file_that_changed_since_its_download_broke_is_begun_again(server, tmp_path):
    server.files["/x.bin"], server.breaks = b"old" * 2_000, fetching.TRIES
    with pytest.raises(DownloadError, match="bytes came"):
        download(f"{server.url}/x.bin", tmp_path / "x.bin", lambda text: None)
    server.files["/x.bin"] = b"new" * 2_000
    download(f"{server.url}/x.bin", tmp_path / "x.bin", lambda text: None)
    assert (tmp_path / "x.bin").read_bytes() == b"new" * 2_000
    assert server.asked[-1][1] is not None and [path.name for path in tmp_path.iterdir()] == ["x.bin"]


def test_what_is_left_of_a_file_without_a_version_is_begun_again(server, tmp_path):
    server.files["/x.bin"], server.breaks, server.versions = b"12345" * 100, 1, None
    download(f"{server.url}/x.bin", tmp_path / "x.bin", lambda text: None)
    assert (tmp_path / "x.bin").read_bytes() == b"12345" * 100
    assert server.asked == [("/x.bin", None), ("/x.bin", None)]


def test_a_part_that_is_as_long_as_the_file_is_not_taken_for_it(server, tmp_path):
    server.files["/x.bin"] = b"12345"
    (tmp_path / "x.bin.part").write_bytes(b"99999")
    (tmp_path / "x.bin.part.version").write_text(hashlib.sha256(b"12345").hexdigest())
    download(f"{server.url}/x.bin", tmp_path / "x.bin", lambda text: None)
    assert (tmp_path / "x.bin").read_bytes() == b"12345"


def test_a_file_that_is_not_there_is_asked_for_once_and_a_server_that_fails_some_times(server, tmp_path):
    with pytest.raises(DownloadError, match="must be there, but its server answers 404"):
        download(f"{server.url}/none", tmp_path / "none", lambda text: None)
    assert len(server.asked) == 1
    server.refuses["/busy"] = 503
    with pytest.raises(DownloadError, match="answers 503"):
        download(f"{server.url}/busy", tmp_path / "busy", lambda text: None)
    assert len(server.asked) == 1 + fetching.TRIES
    with pytest.raises(DownloadError, match=f"must be reachable, but after {fetching.TRIES} tries"):
        download("http://127.0.0.1:9/x", tmp_path / "x", lambda text: None)


def test_a_full_disk_is_told_as_one_and_asked_for_once(server, tmp_path):
    server.files["/x.bin"] = b"12345"
    (tmp_path / "x.bin.part").symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left on device"):
        download(f"{server.url}/x.bin", tmp_path / "x.bin", lambda text: None)
    assert len(server.asked) == 1


def test_an_archive_that_is_cut_or_lacks_a_language_leaves_no_lock(filled, tmp_path):
    (archive,) = PUBLICATIONS["udpos"].addresses
    filled.files[of(archive.url)] = treebanks()[:-40]
    with pytest.raises(InputError, match=r"ud-treebanks-v2\.5\.tgz: must be an archive of treebanks"):
        fetch(filled, tmp_path / "cut", "udpos")
    assert not (tmp_path / "cut" / LOCK_FILE).exists()
    empty = io.BytesIO()
    tarfile.open(fileobj=empty, mode="w:gz").close()
    filled.files[of(archive.url)] = empty.getvalue()
    with pytest.raises(InputError, match=r"must hold en_\*-ud-train\.conllu, but has none"):
        fetch(filled, tmp_path / "empty", "udpos")


def test_nothing_is_written_outside_of_the_folder(filled, tmp_path):
    (archive,) = PUBLICATIONS["udpos"].addresses
    filled.files[of(archive.url)] = treebanks({"../../en_evil-ud-dev.conllu": sentence(("evil", "X"))}.items())
    fetch(filled, tmp_path / "in", "udpos")
    assert not list(tmp_path.glob("*evil*")) and [path.name for path in tmp_path.iterdir()] == ["in"]


def test_questions_without_a_language_are_refused(filled, tmp_path):
    for address in PUBLICATIONS["tydiqa"].addresses:
        filled.files[of(address.url)] = b'{"data": [{"paragraphs": []}]}'
    with pytest.raises(InputError, match="must be JSON of the SQuAD format"):
        fetch(filled, tmp_path, "tydiqa")


def test_a_task_without_files_of_a_publisher_is_refused_with_its_nearest_name(tmp_path):
    with pytest.raises(
        InputError, match=r"one of udpos, tydiqa, tatoeba, panx, but got 'tatoba'\. Did you mean 'tatoeba'"
    ):
        list(fetch_tasks(["tatoba"], tmp_path, lambda text: None))


def test_progress_says_how_much_how_fast_and_how_long():
    assert (
        progress_line("x.tgz", 12_000_000, 355_000_000, 8_000_000, 2.0)
        == "x.tgz: 12.0 of 355.0 MB, 4.0 MB/s, 1:26 left"
    )
    assert progress_line("x.tgz", 12_000_000, None, 8_000_000, 2.0) == "x.tgz: 12.0 MB, 4.0 MB/s"
