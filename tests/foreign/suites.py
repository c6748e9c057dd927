"""Runs suites, inside the environment of requirements.txt, and prints one line for each.

A suite is a module of `suite/` with unittest cases and `NEEDS`, a list of what must be there: a program's name, or
"longbow" for the binary under test. What is not there makes the suite "not-run", loudly, and never a pass.
"""

import importlib
import os
import shutil
import sys
import unittest

from support import demo

NOT_RUN = 77


def missing(needs: list[str]) -> str | None:
    """Why a suite cannot run."""
    for need in needs:
        if need == "longbow":
            if not os.environ.get("LONGBOW_BIN"):
                return "no longbow binary: cargo build --release -p longbow, or name one"
        elif shutil.which(need) is None:
            return f"{need} is not installed (Debian package: prometheus)"
    return None


def run(name: str) -> str:
    """The suite's line."""
    module = importlib.import_module(f"suite.{name}")
    if reason := missing(module.NEEDS):
        return f"suite {name} not-run: {reason}"
    print(f"--- {name}", flush=True)
    tests = unittest.defaultTestLoader.loadTestsFromModule(module)
    result = unittest.TextTestRunner(stream=sys.stdout, verbosity=2).run(tests)
    bad = len(result.failures) + len(result.errors) + len(result.unexpectedSuccesses)
    if result.testsRun == 0 and not bad:
        return f"suite {name} FAIL: it has no tests"
    if result.skipped:
        return f"suite {name} not-run: {len(result.skipped)} tests: {result.skipped[0][1]}"
    return f"suite {name} " + (f"FAIL {bad}, ran {result.testsRun}" if bad else f"pass {result.testsRun}")


def main(names: list[str]) -> int:
    try:
        lines = [run(name) for name in names]
    finally:
        code = demo.stop()
    if code:
        lines.append(f"suite demo FAIL: it ended with {code} after SIGTERM")
    print("---")
    print("\n".join(lines))
    if any(" FAIL" in line for line in lines):
        return 1
    return NOT_RUN if any(" not-run: " in line for line in lines) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
