#!/usr/bin/env bash
# Runs every fuzz target in the given folders, each for the given time, and
# stops at the first that finds something.
#
#	testenv/fuzz.sh TIME FOLDER ...
#
# Go before 1.27 can fail a target at the end of its time with "context
# deadline exceeded" and nothing found (https://go.dev/issue/75804). A real
# finding always has its input written, so that distinguishes them.
set -euo pipefail
time=$1
shift
log=$(mktemp)
trap 'rm -f "$log"' EXIT

grep -rEo --include='*_test.go' '^func Fuzz[A-Za-z0-9_]*' "$@" | sort | while IFS=: read -r file target; do
	package=./${file%/*} target=${target#func }
	echo "$target of $package"
	if "${GO:-go}" test -vet=off -run '^$' -fuzz "^$target\$" -fuzztime "$time" "$package" 2>&1 </dev/null | tee "$log"; then
		continue
	fi
	if grep -q '^ *context deadline exceeded$' "$log" && ! grep -q 'Failing input written' "$log"; then
		echo "$target of $package: its time ran out, and nothing was found"
		continue
	fi
	exit 1
done
