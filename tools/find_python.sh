#!/bin/sh
# Print the newest tested Python that really runs, else 3.14; a version manager's shim may exist and refuse.
# With an argument, that version only. Managed versions that are installed but not on the PATH are tried too.
for version in ${1:-3.13 3.12 3.11 3.14}; do
  for candidate in "python$version" "${PYENV_ROOT:-$HOME/.pyenv}"/versions/"$version".*/bin/python3; do
    if "$candidate" -c 'import ensurepip, ssl, sqlite3, venv' >/dev/null 2>&1; then
      echo "$candidate"
      exit 0
    fi
  done
done
if python3 -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then
  echo python3
fi
