// Package houserules holds the rules of this code base that are not the compiler's: which room may import which, what must be
// documented, what tests may not do. They are tests, so that "go test ./..." tells when one is broken. There is no other code here.
package houserules
