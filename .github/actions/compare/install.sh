#!/usr/bin/env bash
# Install deconvbench: what INSTALL names, or the version that this action is of. ACTION is the action's folder.
set -euo pipefail
install=${INSTALL:-}
if [[ $install == none ]]; then
  exit 0
fi
# torch for the processor alone is a tenth of the other
export PIP_EXTRA_INDEX_URL=${PIP_EXTRA_INDEX_URL:-https://download.pytorch.org/whl/cpu}
python3 -m pip install -q -- "${install:-$ACTION/../../..}"
