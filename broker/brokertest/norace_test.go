//go:build !race

package brokertest

// raceDetector tells that the test runs with the race detector, which makes an hour of three brokers take minutes.
const raceDetector = false
