// Package arch holds tests that keep the house honest: which room may import which, that packages and exported names are documented, that
// files and functions keep their size, that generated code fits its sources, and that every fault has its page in the handbook.
//
// It promises findings that name file, line and reason, and to need nothing but the files of the repository. Each check is shown its own
// breach, so that none passes by being blind. It refuses exceptions without a sentence that says why.
package arch
