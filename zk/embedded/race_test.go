//go:build race

package embedded_test

// raceDetector tells that the test runs with the race detector.
const raceDetector = true
