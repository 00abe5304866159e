package catalogue

// Kind is which of a server's lists.
type Kind uint8

// The kinds.
const (
	Tools Kind = iota
	Prompts
	Resources
	Templates
	kinds
	// Initialize and Discover are the greetings of the two eras, for Timely and Late. No list is of these kinds.
	Initialize Kind = 253
	Discover   Kind = 254
	// Any stands for all lists of a server, where it is told that something changed. No list is of this kind.
	Any Kind = 255
)

var methods = [kinds]string{"tools/list", "prompts/list", "resources/list", "resources/templates/list"}

var members = [kinds]string{"tools", "prompts", "resources", "resourceTemplates"}

// Method returns the method that asks for such a list, or that greets so, for example "resources/templates/list".
func (k Kind) Method() string {
	switch {
	case k < kinds:
		return methods[k]
	case k == Initialize:
		return "initialize"
	case k == Discover:
		return "server/discover"
	}
	return ""
}

// Member returns the member of the result that holds the items, for example "resourceTemplates".
func (k Kind) Member() string {
	if k < kinds {
		return members[k]
	}
	return ""
}
