#!/usr/bin/env bash
# Comment a comparison on a pull request: a comment of its own, made where something changed, and kept up to date.
#
# Takes REPOSITORY, NUMBER, NAME (of the comparison), AUTHOR (who the token is), CHANGED, MARKDOWN (a file) and RUN_URL.
# The token of a pull request from a fork may not write: that is a warning, and the job's summary has the text.
set -euo pipefail

if ! [[ $NUMBER =~ ^[0-9]+$ && $REPOSITORY =~ ^[A-Za-z0-9_.-]+/[A-Za-z0-9_.-]+$ ]]; then
  echo "::error::comment: not a pull request"
  exit 2
fi
# the first line of the comment, by which it is found again; what an HTML comment cannot hold becomes a low line
MARKER="<!-- deconvbench compare-commits: ${NAME//[^A-Za-z0-9 ._]/_} -->"
export MARKER AUTHOR

body=$(mktemp)
trap 'rm -f "$body"' EXIT
{
  printf '%s\n' "$MARKER"
  # GitHub takes 65536 characters
  head -c 60000 -- "$MARKDOWN"
  printf '\n[Page and data of this comparison](%s)\n' "$RUN_URL"
} > "$body"

# only a comment that this very account wrote: anybody can write the marker
found=$(gh api --paginate "repos/$REPOSITORY/issues/$NUMBER/comments?per_page=100" \
  --jq '.[] | select(.user.login == env.AUTHOR and (.body | startswith(env.MARKER))) | .id') || {
  echo "::warning::the comments of the pull request cannot be read; the summary of this job has the comparison"
  exit 0
}
id=${found%%$'\n'*}

if [[ -n $id ]]; then
  answer=(--method PATCH "repos/$REPOSITORY/issues/comments/$id")
elif [[ $CHANGED == true ]]; then
  answer=(--method POST "repos/$REPOSITORY/issues/$NUMBER/comments")
else
  echo "nothing changed, and nothing was said before: no comment"
  exit 0
fi
gh api --silent "${answer[@]}" --field "body=@$body" || {
  echo "::warning::the pull request cannot be commented on; the summary of this job has the comparison"
}
