"""The command line, run in this process."""

from xlray.cli import main


def xlray(capfd, *arguments):
    """Run the command line in this process: exit code, stdout, stderr."""
    code = main.main([str(a) for a in arguments])
    out, err = capfd.readouterr()
    return code, out, err


def refused(capfd, *arguments):
    """The one line on stderr of a command that must end with 2 and print nothing else."""
    code, out, err = xlray(capfd, *arguments)
    assert (code, out) == (2, "") and err.count("\n") == 1 and err.startswith("xlray: "), (code, out, err)
    return err
