# SPDX-License-Identifier: BSD-2-Clause
# What zsh would offer for each line of standard input; "." behind the offers of each. Only a shell with a terminal completes
# (zshmodules(1), zpty), so one is asked, in which compadd writes down what it is given instead of offering it.
zmodload zsh/zpty
zpty inner zsh -f -i
send() { zpty -w inner "$1" }
send 'PS1= PS2= RPS1= ; unsetopt zle_bracketed_paste prompt_cr prompt_sp 2>/dev/null; stty -echo'
cat >setup.zsh <<'X'
autoload -Uz compinit && compinit -u -D
. ./completion
zstyle ':completion:*' insert-tab false
zstyle ':completion:*' file-patterns '%p:globbed-files *(-/):directories'
compadd() {
	local -a hits
	local option
	# What is given to be kept in a variable is not offered.
	for option in "$@"; do
		[[ $option == -- || $option == - ]] && break
		[[ $option == -[OAD]* || $option == -[a-zA-Z12]#[OAD] ]] && { builtin compadd "$@"; return }
	done
	builtin compadd -A hits "$@"
	for option in $hits; do
		[[ -d $option ]] && option+=/
		print -r -- $option >>answer
	done
	builtin compadd "$@"
}
answer() { _main_complete; print -r -- . >>answer; compstate[insert]=; compstate[list]=; : >done }
zle -C answer complete-word answer
bindkey '^I' answer
X
send '. ./setup.zsh; : >ready'
wait_for() { local i; for ((i = 0; i < 3000; i++)); do [[ -e $1 ]] && { rm -f $1; return 0 }; sleep 0.02; while zpty -rt inner rest 2>/dev/null; do :; done; done; print -u2 "zsh does not answer: $2"; exit 1 }
wait_for ready setup
: >answer
while IFS= read -r line; do
	zpty -wn inner "$line"$'\t'
	wait_for done "$line"
	zpty -wn inner $'\C-u'
done
zpty -d inner
cat answer
