"""Makes a virtual environment below target/, then runs the suites in it.

Standard library only. The environment is kept, and made anew when requirements.txt changes.
"""

import argparse
import fcntl
import hashlib
import os
import pathlib
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
SUITES = ["helm", "settings", "prometheus", "grpc", "flight", "snapshot"]
NOT_RUN = 77


def environment() -> pathlib.Path:
    """The interpreter of an environment that holds requirements.txt."""
    wanted = (HERE / "requirements.txt").read_bytes() + sys.version.encode()
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")).resolve() / "foreign"
    target.mkdir(parents=True, exist_ok=True)
    home = target / f"venv-{hashlib.sha256(wanted).hexdigest()[:12]}"
    python, complete = home / "bin" / "python", home / "complete"
    with open(target / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not complete.exists():
            print(f"foreign: making {home}", flush=True)
            subprocess.run([sys.executable, "-m", "venv", "--clear", home], check=True)
            install = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", HERE / "requirements.txt"]
            subprocess.run([python, *install], check=True)
            complete.touch()
    return python


def main() -> int:
    parser = argparse.ArgumentParser(description="Suites that need foreign tools.")
    parser.add_argument("what", nargs="*", metavar="BINARY | SUITE", help=f"a built longbow; suites: {', '.join(SUITES)}")
    what = parser.parse_args().what
    binaries = [pathlib.Path(word) for word in what if word not in SUITES]
    suites = [word for word in what if word in SUITES] or SUITES
    if len(binaries) > 1 or not all(path.is_file() for path in binaries):
        parser.error(f"neither suites nor a binary: {', '.join(map(str, binaries))}")
    try:
        python = environment()
    except (OSError, subprocess.CalledProcessError) as error:
        for suite in suites:
            print(f"suite {suite} not-run: no environment of requirements.txt: {error}")
        return NOT_RUN
    candidates = binaries or [ROOT / "target" / kind / "longbow" for kind in ("release", "debug")]
    built = [path.resolve() for path in candidates if path.is_file()]
    env = {**os.environ, "LONGBOW_BIN": str(max(built, key=lambda path: path.stat().st_mtime)) if built else ""}
    return subprocess.run([python, HERE / "suites.py", *suites], env=env, cwd=ROOT).returncode


if __name__ == "__main__":
    sys.exit(main())
