#!/var/lang/bin/python3
"""Lambda's wrapper script (AWS_LAMBDA_EXEC_WRAPPER): begins what a cold start waits for before Lambda's runtime client is imported."""

from __future__ import annotations

import os
import sys

__all__ = ["main"]


def main(python: str, *line: str) -> None:
    """Goes on as `python` would with this `line`, which is AWS's bootstrap.py and nothing else."""
    forks = "AWS_LAMBDA_MAX_CONCURRENCY" in os.environ  # the runtime client, after this: threads would be lost
    if forks or len(line) != 1 or not os.path.isfile(line[0]):
        os.execv(python, [python, *line])  # noqa: S606 - Lambda says what comes after its wrapper
    root = os.environ["LAMBDA_TASK_ROOT"]
    sys.path[0] = root  # a script's own folder is there
    sys.path.append(root)  # where threads that have begun still import from
    try:  # noqa: SIM105 - contextlib takes a millisecond
        import functions.predict.ahead  # noqa: F401, PLC0415
    except Exception:  # noqa: BLE001, S110 - the handler imports it again, and the runtime client reports what that raises
        pass
    sys.argv = [*line]
    sys.path[0] = os.path.dirname(line[0])
    with open(line[0], "rb") as script:
        code = compile(script.read(), line[0], "exec", dont_inherit=True)
    exec(code, {"__name__": "__main__", "__file__": line[0]})  # noqa: S102 - `runpy` takes two


if __name__ == "__main__":
    main(*sys.argv[1:])
