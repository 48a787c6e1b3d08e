#!/usr/bin/env bash
# Compare two commits of the checkout in the current folder.
#
# Takes BASE (empty: what the pull request would be merged into), TARGET (tip of the base branch), HEAD, UPSAMPLERS and
# OPTIONS (one a line), FAIL_ON and FOLDER, where comparison.json, .md and .html go. Writes `changed` and `code` to
# GITHUB_OUTPUT, and the Markdown to GITHUB_STEP_SUMMARY. Fails only where there is nothing to report.
set -euo pipefail

base=$BASE
if [[ -z $base ]]; then
  if [[ ${GITHUB_REF:-} =~ ^refs/pull/[0-9]+/merge$ ]] && git rev-parse --quiet --verify 'HEAD^2' > /dev/null; then
    # GitHub checks out the merge of both: its first parent is the base as it is now
    base=$(git rev-parse 'HEAD^1')
  elif [[ $TARGET =~ ^[0-9a-f]{40,64}$ ]]; then
    base=$(git merge-base "$TARGET" HEAD)
  else
    echo "::error::base: not given, and this is not a pull request"
    exit 2
  fi
fi

mkdir -p "$FOLDER"
words=(--json --force --html "$FOLDER/comparison.html" --markdown "$FOLDER/comparison.md")
if [[ $FAIL_ON != none ]]; then
  words+=(--fail-on "$FAIL_ON")
fi
while IFS= read -r line; do
  [[ -z $line ]] || words+=(--upsampler "$line")
done <<< "$UPSAMPLERS"
while IFS= read -r line; do
  [[ -z $line ]] || words+=("$line")
done <<< "$OPTIONS"

code=0
deconvbench compare-commits "${words[@]}" -- "$base" "$HEAD" > "$FOLDER/comparison.json" || code=$?
# 0: done, 1: a case is what FAIL_ON names, 4: the control voids it; all else has no result
if [[ $code != 0 && $code != 1 && $code != 4 ]]; then
  echo "::error::deconvbench compare-commits exited with $code"
  exit "$code"
fi

changed=$(python3 -c '
import json, sys
rows = json.load(open(sys.argv[1], encoding="utf-8"))["rows"]
changes = {"slower", "faster", "larger", "smaller"}
print("true" if any(row["verdict"] in changes for row in rows) else "false")
' "$FOLDER/comparison.json")
if [[ $code == 4 ]]; then
  # no verdict of a void comparison can be trusted, so there is nothing to tell the pull request
  changed=false
  echo "::warning::void: identical code was called slower or faster; run the job again on a quieter machine"
fi
if [[ $FAIL_ON == none && $code == 1 ]]; then
  code=0
fi
cat "$FOLDER/comparison.md" >> "${GITHUB_STEP_SUMMARY:-/dev/null}"
{
  echo "changed=$changed"
  echo "code=$code"
} >> "${GITHUB_OUTPUT:-/dev/stdout}"
