// Package e2e holds the tests of the real thing: the built binary and the scripts, as processes on a real disk, killed as an operator's
// machine would kill them. There is no other code here.
//
// OTTLA_E2E_LINES sets how many lines the load tests send; "make e2e" sends a million. OTTLA_TORTURE is how long TestTorture goes on, see there, and with
// OTTLA_E2E_ENSEMBLE an ensemble of Apache's ZooKeeper suffers (TestEnsemble), with OTTLA_E2E_DOCKER the demo of docker-compose.yml is brought up too. OTTLA_E2E_RACE builds the binary with the race detector.
package e2e
