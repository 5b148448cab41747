# shellcheck shell=bash
# Sourced by the scripts that need the project's environment: `set_up LOCK [CONTAINED_LOCK...]` returns at once
# when .venv holds all that LOCK lists, and otherwise makes it so. Messages go to stderr.
#
#   PYTHON=python3.12 ./run_local.sh    build .venv from that Python (3.10 to 3.13), also if it has another one
#   rm -rf .venv                        begin anew
#
# With `uv` on the PATH the packages are installed by it, otherwise by pip. Either way each one is checked
# against its hash in the lock file, and compiled: TensorFlow's import takes 4 s compiled, 12 s and more if not.
#
# Runs under bash 3.2 (macOS) with the tools of POSIX. bash 3.2 does not apply `set -e` to a failing ( ... ), and
# no bash applies it on the left of `||`; so whatever may fail here says by itself what happens then.

ROOT=$(CDPATH='' cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd -P)

use_environment() { # FOLDER OLDEST_MINOR [PROJECT]
  VENV=$ROOT/$1
  STATE=$VENV/.set-up # inside it, so that no other place needs to be ignored by git or cleaned
  OLDEST_MINOR=$2
  EDITABLE=${3:-} # what is installed beside the lock's packages, and follows from setup.py
}

use_environment .venv 10 "$ROOT"

# sysexits.h: "a support program is missing". Its own code, because the remedy is another than for a failed install.
readonly EXIT_NO_PYTHON=69

# Prints the path of the running Python, or fails if the environment cannot be built from it. A virtual
# environment's Python stands for the one that it was made from: .venv must outlive it, and may be it.
readonly SUITABLE_PYTHON='
import importlib.util, os, sys, sysconfig

installer, oldest_minor = sys.argv[1:]
suitable = (
    sys.implementation.name == "cpython"
    and (3, 10) <= sys.version_info[:2] < (3, 14)
    and sys.version_info[1] >= int(oldest_minor)
    and not sysconfig.get_config_var("Py_GIL_DISABLED")
    and (installer == "uv" or importlib.util.find_spec("ensurepip"))
)
base = os.path.join(sys.base_prefix, "bin", "python%d.%d" % sys.version_info[:2])
if not suitable:
    sys.exit(1)
print(base if sys.prefix != sys.base_prefix and os.access(base, os.X_OK) else sys.executable)
'

# A flock on an open file, because the kernel drops it with the last process that holds the file: nobody has to
# find out whether the owner of a lock is still alive. A pip that outlived a killed script still keeps it.
readonly WAIT_FOR_TURN='
import fcntl, sys

try:
    fcntl.flock(9, fcntl.LOCK_EX | fcntl.LOCK_NB)
except BlockingIOError:
    print("Waiting for another set-up of", sys.argv[1], "...", file=sys.stderr)
    fcntl.flock(9, fcntl.LOCK_EX)
except OSError:
    pass  # a file system without locks: better unguarded than not at all
'

set_up() { # LOCK [CONTAINED_LOCK...]: a contained lock lists nothing that LOCK does not list, at the same version
  local python
  if is_current "$1"; then return; fi
  python=$(find_python) || exit
  mkdir -p "$STATE" || exit
  exec 9>>"$STATE/lock"
  "$python" -I -S -c "$WAIT_FOR_TURN" "${VENV##*/}" || exit
  # The set-up that was waited for may have been this one.
  if ! is_current "$1"; then build "$python" "$@"; fi
  exec 9>&- # or the program that is started next would keep the lock
}

# BigQuery's stand-in for the tests, in an environment of its own, since it wants other versions than Beam does. Where
# PYTHON names one that is too old for it, another is looked for: .venv is what PYTHON is about.
set_up_bqemulator() (
  use_environment .venv-bqemulator 11
  local python=${PYTHON:-}
  path_if_suitable "$python" >/dev/null || python=''
  PYTHON=$python set_up requirements-bqemulator.lock
)

is_current() { # LOCK
  [ -f "$STATE/stamp.$1" ] && wanted_python_is_there &&
    [ "$(fingerprint "$1")" = "$(cat "$STATE/stamp.$1")" ]
}

wanted_python_is_there() {
  [ -z "${PYTHON:-}" ] || [ "$VENV/bin/python" -ef "$(path_if_suitable "$PYTHON")" ]
}

fingerprint() { # LOCK: all that the installed packages follow from
  identity
  cat "$ROOT/$1" ${EDITABLE:+"$EDITABLE/setup.py"} | cksum
}

# What an environment cannot outlive a change of: its scripts name the folder it is in, its packages lie in one
# named after the Python. Running that Python also shows that it is still there. (10 ms, for -S leaves out .pth files.)
identity() {
  printf '%s\n' "$ROOT"
  "$VENV/bin/python" -I -S -c 'import sys; print(sys.implementation.cache_tag)' 2>/dev/null
}

# The environment's own Python comes first: it changes only when it is asked to. Then python3, which is what this
# machine, or the conda or pyenv environment at work in this terminal, calls Python; then the newest, whose
# support ends last.
find_python() {
  local candidate
  if [ -n "${PYTHON:-}" ]; then
    path_if_suitable "$PYTHON" || no_python "PYTHON is '$PYTHON', which is none."
    return
  fi
  for candidate in "$VENV/bin/python" python3 python3.13 python3.12 python3.11 python3.10; do
    if path_if_suitable "$candidate"; then return; fi
  done
  fetch_python || no_python "There is none among python3 and python3.13 to python3.$OLDEST_MINOR on the PATH."
}

path_if_suitable() { # PYTHON
  "$1" -I -c "$SUITABLE_PYTHON" "$(installer)" "$OLDEST_MINOR" 2>/dev/null
}

fetch_python() {
  [ "$(installer)" = uv ] || return 1
  say "No Python 3.$OLDEST_MINOR to 3.13 on the PATH: uv fetches one ..."
  uv python install 3.12 >&2 && uv python find --system 3.12
}

installer() {
  if command -v uv >/dev/null; then echo uv; else echo pip; fi
}

build() { # PYTHON LOCK [CONTAINED_LOCK...]
  local python=$1 lock
  shift
  say "Setting up ${VENV##*/} (once; a minute or two) ..."
  is_sound "$python" || make_environment "$python"
  identity >"$STATE/identity"
  drop_stale_stamps
  : >"$STATE/unfinished"
  install_packages "$1" || fail "The set-up of ${VENV##*/} failed, for the reason above. The next start begins it anew."
  for lock; do fingerprint "$lock" >"$STATE/stamp.$lock"; done
  rm "$STATE/unfinished"
}

# A package of which an interrupted installer left a part looks installed to the next one; so an unfinished
# environment is made anew. One that somebody made by hand has no identity on record, and is taken as it is.
is_sound() { # PYTHON
  [ ! -e "$STATE/unfinished" ] && [ "$VENV/bin/python" -ef "$1" ] &&
    { [ ! -e "$STATE/identity" ] || [ "$(identity)" = "$(cat "$STATE/identity")" ]; }
}

make_environment() { # PYTHON
  : >"$STATE/unfinished"
  # All but the lock, which this process holds: who came later must find the same file.
  find "$VENV/" -mindepth 1 -maxdepth 1 ! -name .set-up -exec rm -rf {} +
  rm -f "$STATE"/stamp.*
  "$1" -I -m venv --without-pip "$VENV" >&2 || fail "'$1' can make no virtual environment, for the reason above."
}

# A stamp that is true stays true, for a lock that contains another one only adds to it; an outdated one must not
# come true again by a `git checkout` after this installation broke off.
drop_stale_stamps() {
  local stamp
  for stamp in "$STATE"/stamp.*; do
    is_current "${stamp##*/stamp.}" || rm -f "$stamp"
  done
}

install_packages() { # LOCK
  local python=$VENV/bin/python
  local -a install
  if [ "$(installer)" = uv ]; then
    # The folder, because uv reads the settings of the project it is started in.
    install=(uv pip install --quiet --directory "$ROOT" --python "$python" --compile-bytecode)
  else
    # uv leaves pip out. -I, because else pip sees PYTHONPATH's packages, and Python the modules of this folder.
    "$python" -I -m pip --version >/dev/null 2>&1 || "$python" -I -m ensurepip >/dev/null || return
    install=("$python" -I -m pip install --quiet --disable-pip-version-check --no-input)
  fi
  # In two steps: hashes can be required of released packages only, and this one is built with what the lock has.
  "${install[@]}" --require-hashes -r "$ROOT/$1" >&2 || return
  [ -z "$EDITABLE" ] || "${install[@]}" --no-deps --no-build-isolation -e "$EDITABLE" >&2
}

no_python() { # REASON
  local with='' or=' Or install uv, which brings its own.'
  if [ "$(installer)" = uv ]; then
    or=''
  else
    with=' with its modules venv and ensurepip (Debian, Ubuntu: python3-venv)'
  fi
  local minor versions=''
  for ((minor = OLDEST_MINOR; minor < 13; minor++)); do versions+="${versions:+, }3.$minor"; done
  say "${VENV##*/} needs a CPython $versions or 3.13$with. $1" \
    "Install one, or name one: PYTHON=/path/to/python3.12 $0.$or"
  exit "$EXIT_NO_PYTHON"
}

fail() {
  say "$@"
  exit 1
}

say() {
  printf '%s\n' "$*" >&2
}
