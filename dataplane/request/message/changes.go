package message

// TellsChanges reports whether a server's capabilities say that it tells of changes of a list: tools, prompts or resources.
func TellsChanges(capabilities []byte, list string) bool {
	a := answer{b: capabilities}
	root := Span{Start: 0, End: len(capabilities)}
	if len(capabilities) == 0 || capabilities[0] != '{' {
		return false
	}
	return string(a.member(a.member(root, list), "listChanged").Of(capabilities)) == "true"
}
