# bash completion for tidemark: the program itself knows its commands, options and words.
_tidemark()
{
	local IFS=$'\n'
	COMPREPLY=($(tidemark __complete "${COMP_WORDS[@]:1:COMP_CWORD}" 2> /dev/null))
}
complete -o default -o filenames -F _tidemark tidemark
