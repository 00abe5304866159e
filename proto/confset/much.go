package confset

// Much says whether removals from so many objects are more than is done without somebody having said so: more than ten, and more than a fifth. What
// follows from that is the caller's: to hold them, or to ask.
func Much(removals, objects int) bool {
	const count, part = 10, 5
	return removals > count && removals*part > objects
}
