// Package e2e holds the tests of the real thing: the built binary and the scripts, as processes on a real disk, killed as an operator's
// machine would kill them. There is no other code here.
//
// OTTLA_E2E_LINES sets how many lines the load tests send; "make e2e" sends a million.
package e2e
