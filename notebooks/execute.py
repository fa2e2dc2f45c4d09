"""Runs the notebooks in fresh kernels, from the first cell to the last: `./run notebooks`.

A cell that fails ends it with the cell, its error and status 1. With --update the outputs are
stored in the notebooks; without it nothing is written.
"""

import argparse
import pathlib
import sys
import time

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

HERE = pathlib.Path(__file__).resolve().parent


def execute(path, update):
    notebook = nbformat.read(path, as_version=4)
    begin = time.monotonic()
    client = NotebookClient(
        notebook,
        timeout=600,
        kernel_name="python3",
        record_timing=False,
        coalesce_streams=True,
        resources={"metadata": {"path": str(HERE)}},
    )
    client.execute()
    print(f"[notebooks] {path.name}: {time.monotonic() - begin:.0f} s", file=sys.stderr)
    if update:
        notebook.metadata = {
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "language_info": {"name": "python"},
        }
        nbformat.write(notebook, path)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("notebooks", nargs="*", help="by default all of them")
    parser.add_argument("--update", action="store_true", help="store the outputs")
    arguments = parser.parse_args()
    known = {path.name: path for path in sorted(HERE.glob("[0-9][0-9]_*.ipynb"))}
    names = [pathlib.Path(name).name for name in arguments.notebooks] or list(known)
    for name in names:
        if name not in known:
            sys.exit(f"[notebooks] no notebook '{name}'; there are: {', '.join(known)}")
        try:
            execute(known[name], arguments.update)
        except CellExecutionError as error:
            sys.exit(f"[notebooks] {name} failed:\n{error}")


if __name__ == "__main__":
    main()
