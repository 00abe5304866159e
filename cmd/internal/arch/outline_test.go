package arch

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

var (
	comment   = regexp.MustCompile(`(?m)//(.*)$`)
	word      = regexp.MustCompile(`[A-Za-z0-9_.]+|"[^"]*"|[{}();=<>,\[\]]`)
	qualifier = regexp.MustCompile(`[A-Za-z0-9_]+\.`)
)

// outline says what a .proto file declares, one line per message, field, enum value and method, with types by their last name.
func outline(src string) []string {
	o := outliner{words: word.FindAllString(comment.ReplaceAllString(src, ""), -1)}
	for len(o.words) > 0 {
		o.statement("")
	}
	return o.lines
}

type outliner struct {
	words []string
	lines []string
	enum  bool
}

func (o *outliner) next() string {
	if len(o.words) == 0 {
		return ""
	}
	w := o.words[0]
	o.words = o.words[1:]
	return w
}

// statement reads one, up to its semicolon or through its block.
func (o *outliner) statement(scope string) {
	var s []string
	for {
		switch w := o.next(); w {
		case "{":
			o.block(scope, s)
			return
		case "}", ";", "":
			o.declare(scope, s)
			return
		default:
			s = append(s, w)
		}
	}
}

func (o *outliner) block(scope string, head []string) {
	if len(head) < 2 {
		return
	}
	inner := scope
	if head[0] != "oneof" {
		inner = scope + head[1] + "."
		if head[0] != "rpc" {
			o.lines = append(o.lines, head[0]+" "+scope+head[1])
		}
	}
	outer := o.enum
	o.enum = head[0] == "enum"
	for len(o.words) > 0 && o.words[0] != "}" {
		o.statement(inner)
	}
	o.next()
	o.enum = outer
}

func (o *outliner) declare(scope string, s []string) {
	join := strings.Join(s, " ")
	switch {
	case len(s) == 0 || scope == "" || s[0] == "option" || s[0] == "reserved":
	case s[0] == "rpc":
		o.lines = append(o.lines, "rpc "+scope+short(join[len("rpc "):]))
	case o.enum:
		o.lines = append(o.lines, "value "+scope+s[0]+" = "+s[2])
	default:
		eq := slices.Index(s, "=")
		kind := strings.Join(s[:eq-1], " ")
		o.lines = append(o.lines, fmt.Sprintf("field %s%s = %s: %s", scope, s[eq-1], s[eq+1], short(kind)))
	}
}

// short leaves the last name of every dotted one.
func short(s string) string {
	return qualifier.ReplaceAllString(s, "")
}
