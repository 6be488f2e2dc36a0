# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash disable=SC2016,SC1003 # a dollar in single quotes is meant to be one
#
# How the demonstration talks: numbered steps, commands with what they print, and checks.

bold='' dim='' green='' red='' plain=''
if [[ -t 1 ]]; then
	bold=$'\e[1m' dim=$'\e[2m' green=$'\e[32m' red=$'\e[31m' plain=$'\e[0m'
fi
step_number=0

# step TITLE WHY: what comes next, and what it's meant to show.
step() {
	step_number=$((step_number + 1))
	printf '\n%s%2d. %s%s\n    %s\n' "$bold" "$step_number" "$1" "$plain" "$2"
}

# show COMMAND...: run it and print it above its indented output. A command that fails ends the demonstration.
show() {
	local status=0
	printf '    %s$ %s%s\n' "$dim" "$(readable "$*")" "$plain"
	"$@" 2>&1 | indented || status=$?
	[[ $status == 0 ]] || fail "exit status $status"
}

# indented ends the last line too, where the command left it open.
indented() { sed -e 's/^/      /' -e '$a\'; }

# check WHAT COMMAND...: the command must succeed within five seconds; what it prints is only shown if it doesn't.
check() {
	local what=$1 said
	shift
	if said=$(within_seconds 5 "$@" 2>&1); then
		printf '    %s✓%s %s\n' "$green" "$plain" "$what"
	else
		[[ -z $said ]] || indented <<<"$said"
		fail "$what"
	fi
}

# refused WHAT COMMAND...: the command must fail.
refused() {
	local what=$1
	shift
	check "$what" is_refused "$@"
}

is_refused() { ! "$@"; }

# within_seconds N COMMAND...: a program is stopped after N seconds. A function of ours runs as it is.
within_seconds() {
	if [[ $(type -t "$2") == file ]]; then
		timeout "$@"
	else
		"${@:2}"
	fi
}

fail() {
	printf '    %s✗ %s%s\n' "$red" "$1" "$plain"
	exit 1
}

# readable TEXT: long directories of this run by their variable's name.
readable() {
	local text=${1//"$WORK"/'$WORK'}
	text=${text//"$CNI_PATH"/'$CNI_PATH'}
	printf '%s' "${text//"$HERE/"/}"
}
