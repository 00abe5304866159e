package endpoint

import (
	"slices"
	"strings"
)

// cut finds the name in /{name}/mcp and /mcp/{name}.
func cut(path string) (name string, swapped, ok bool) {
	if name, ok := strings.CutPrefix(path, "/mcp/"); ok && strings.IndexByte(name, '/') < 0 {
		return name, true, name != ""
	}
	if name, ok := strings.CutSuffix(path, "/mcp"); ok && len(name) > 1 && strings.LastIndexByte(name, '/') == 0 {
		return name[1:], false, true
	}
	return "", false, false
}

// escaped are the two spellings of the one escape that is read.
var escaped = strings.NewReplacer("%2C", ",", "%2c", ",")

// commas returns names with the commas that HTTP libraries escape. spelled is what they were read from, empty when that is the same.
func commas(names string) (plain, spelled string) {
	if strings.IndexByte(names, '%') < 0 {
		return names, ""
	}
	if plain = escaped.Replace(names); plain == names {
		return names, ""
	}
	return plain, names
}

// listed reports whether name is one that a path may have, or several with commas between them.
func listed(name string) bool {
	for one := range strings.SplitSeq(name, ",") {
		if one == "" || !validName(one) {
			return false
		}
	}
	return true
}

// validName is the alphabet of paths: what a name can be, and the hyphen of old spellings, so that those get "unknown" rather than "no such
// path".
func validName(s string) bool {
	if len(s) > 64 || strings.HasPrefix(s, ".") {
		return false
	}
	for i := range len(s) {
		c := s[i]
		letter := c|0x20 >= 'a' && c|0x20 <= 'z'
		if !letter && (c < '0' || c > '9') && c != '_' && c != '-' {
			return false
		}
	}
	return true
}

// sorted is the one spelling of a list of names.
func sorted(list string) string {
	all := strings.FieldsFunc(list, func(r rune) bool { return r == ',' })
	slices.Sort(all)
	if all = slices.Compact(all); len(all) < 2 {
		return strings.Join(all, "") + ","
	}
	return strings.Join(all, ",")
}
