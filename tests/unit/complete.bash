# SPDX-License-Identifier: BSD-2-Clause
# What bash would offer for each line of standard input; "." behind the offers of each.
. ./completion
while IFS= read -r line; do
	read -ra COMP_WORDS <<<"$line"
	[[ $line == *" " ]] && COMP_WORDS+=("")
	COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
	COMPREPLY=()
	_domtrace
	for offer in "${COMPREPLY[@]}"; do
		[[ -d $offer ]] && offer+=/
		printf '%s\n' "$offer"
	done
	echo .
done
