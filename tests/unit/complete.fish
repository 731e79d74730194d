# SPDX-License-Identifier: BSD-2-Clause
# What fish would offer for each line of standard input; "." behind the offers of each.
source ./completion
while read -l --delimiter \n line
	complete -C "$line" | string replace -r '\t.*' ''
	echo .
end
