# Read by demo.sh and morning.sh, which say in $me who they are and in $root where the repository lies: finds the sqlite3
# shell and the built extension (its path in $library, the path's ending in $suffix; $TALON_LIBRARY names another
# build), or says what is missing.

# Ask for the shell before the build: nobody likes to wait for a compiler and be told then.
install_hint() {
  if [ "$(uname)" = Darwin ]; then
    echo "  brew install sqlite, and put its bin first in PATH (Apple's own sqlite3 loads no extensions)"
    return
  fi
  family=$(. /etc/os-release 2>/dev/null && echo "${ID:-} ${ID_LIKE:-}") || family=
  case " $family " in
    *" debian "* | *" ubuntu "*) echo "  sudo apt-get install sqlite3" ;;
    *" fedora "* | *" rhel "* | *" centos "*) echo "  sudo dnf install sqlite" ;;
    *" alpine "*) echo "  sudo apk add sqlite" ;;
    *" arch "*) echo "  sudo pacman -S sqlite" ;;
    *suse*) echo "  sudo zypper install sqlite3" ;;
    *) echo "  the package is called sqlite3 (Debian, Ubuntu, SUSE) or sqlite (Fedora, Alpine, Arch)" ;;
  esac
}
if ! command -v sqlite3 >/dev/null; then
  { echo "$me: the sqlite3 shell is not installed:"; install_hint; } >&2
  exit 1
fi
if sqlite3 -init /dev/null :memory: 'PRAGMA compile_options' | grep -q '^OMIT_LOAD_EXTENSION$'; then
  { echo "$me: $(command -v sqlite3) was built without loadable extensions; another one is needed:"; install_hint; } >&2
  exit 1
fi

case $(uname) in
  Darwin) suffix=dylib ;;
  *) suffix=so ;;
esac
target=${CARGO_TARGET_DIR:-target}
case $target in
  /*) ;;
  *) target=$root/$target ;; # as cargo sees it, which runs in the root below
esac
library=${TALON_LIBRARY:-}
if [ -z "$library" ]; then
  library=$target/release/libtalon.$suffix
  # Also where it is there: it may be older than the source.
  if command -v cargo >/dev/null; then (cd "$root" && cargo build --release --quiet -p talon); fi
fi
if [ ! -f "$library" ]; then
  echo "$me: $library is not there, and cargo is not installed to build it: see https://rustup.rs" >&2
  exit 1
fi
