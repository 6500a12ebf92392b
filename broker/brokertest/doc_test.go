package brokertest

import "testing"

// faults says which tests show what becomes of a cluster of several brokers under each fault. Those that run load judge the recorded history: nothing
// acknowledged is lost, nothing is there twice, order by producer, consumers and the end of the partition never go back, one leader and one controller in
// each epoch, leaders in sync, and in the end the same bytes on all replicas.
//
// Elsewhere: messages between brokers that are late, lost, reordered or come twice, and lost replies of ZooKeeper (controller/sim, controller);
// clocks that jump together with ZooKeeper's (broker/clock); processes that are really frozen, on real disks, behind real cables (TestTorture in cmd/e2e).
var _ = map[string][]func(*testing.T){
	"the leader is killed": {
		TestAKilledLeaderIsReplacedWithinASecond, TestALeaderIsKilledAndNothingAcknowledgedIsLost, TestTheNextLeaderKnowsWhatTheLastOneAppended,
		TestAFollowerKeepsWhatLiesAboveItsHighWatermark, TestADivergentTailIsCutByEpoch, TestWithoutEarlyMovesZooKeeperIsTheBound,
	},
	"a follower is killed":                       {TestAKilledFollowerHoldsNobodyUp, TestAFollowerIsKilledAndComesBack, TestManyPartitionsOverManyFetchers},
	"the controller is killed":                   {TestAKilledControllerIsReplaced, TestAKilledControllerThatLeadsIsReplaced, TestTwoBrokersOneControllerAndTheOtherTakesOver},
	"one after the other is killed":              {TestKillsThatChaseTheLeaderAndTheController, TestSingleFailuresInAnyOrder, TestMovesUnderLeaderAndControllerKills},
	"one after the other is restarted":           {TestARollingRestartFailsNoProduceRequest, TestABrokerThatStopsWithoutZooKeeperIsBackAtOnce},
	"a start within the session":                 {TestAKilledBrokerIsBackBeforeItsSessionWouldHaveExpired, TestALeaderThatLostItsTailAndIsBackAtOnceDoesNotLead},
	"a start with what belongs to others":        {TestStartsThatMustFail},
	"a broker is frozen":                         {TestAFrozenLeaderIsReplaced, TestAFrozenControllerThatLeadsIsReplaced, TestAFreezeBeyondTheSession, TestShortPausesMoveNobody},
	"a session ends":                             {TestASessionEnds, TestABrokerOutlivesItsZooKeeperSession},
	"ZooKeeper stops, starts, is mute":           {TestZooKeeperComesAndGoes, TestARestartOfZooKeeperGoesUnnoticed, TestProducerIDsWithoutZooKeeper},
	"ZooKeeper knows less than before":           {TestZooKeeperIsRestoredFromABackup},
	"a broker is cut off":                        {TestABrokerThatIsCutOffMovesNobody, TestAnIslandOfTheLeaderAndItsClients},
	"the leader is cut from its followers":       {TestALeaderCutFromItsFollowersButNotFromZooKeeperIsReplaced, TestALeaderCutFromItsFollowersAcknowledgesNothingMore},
	"single links are cut, one way too, or slow": {TestLinksBetweenBrokers, TestLinksToClients, TestTheControllerMindsTheInSyncReplicasThatATopicWants},
	"a follower is slow":                         {TestTheLeaderLeavesOutWhoFallsBehindAndTakesBackWhoCatchesUp, TestThrottledReplicasCatchUpAtTheirRate},
	"a log directory fails":                      {TestALogDirectoryFails, TestALogDirectoryFailsWithoutZooKeeper, TestABrokerWithoutAnyDirectoryGivesUp},
	"a disk is full":                             {TestABrokerWithoutAnyDirectoryGivesUp, TestNoRoomForASegment},
	"a disk stalls":                              {TestDisksThatStall, TestALeaderWhoseDiskStallsGivesWay, TestAFollowerWhoseDiskStallsHoldsNobodyUp, TestOneOfTwoDirectoriesStalls, TestAllDisksStall, TestShortStallsMoveNobody, TestAFlappingDisk, TestALeaderDiesWhileAnotherDiskStalls},
	"a bit flips":                                {TestABitFlips, TestDamageIsRepaired, TestDamageThatNobodyCanRepair},
	"the power of one broker fails":              {TestPowerCutsOfFollowers, TestPowerCutsLoseNothingThatWasPromised, TestALeaderThatLostItsTailAndIsBackAtOnceDoesNotLead},
	"the power of all fails":                     {TestEveryPowerFails},
	"a disk is replaced":                         {TestANewDisk, TestTheLastReplicaInSyncLosesItsDisk, TestALostDiskThatMattersToNobody, TestOneOfTwoDisksIsNotMounted},
	"the last replica in sync is gone":           {TestTheLastInSyncReplicaIsWaitedFor, TestTheLastInSyncReplicaLosesItsPower, TestTooFewReplicasInSync},
	"an unclean election":                        {TestAnUncleanElectionLosesRecordsAndNotAgreement, TestConsumersLearnOfAnUncleanElection},
	"partitions move, brokers come and go":       {TestBrokersComeAndGoUnderLoad, TestMovesUnderLeaderAndControllerKills, TestMovesAreRefusedAndCancelled},
	"a topic is deleted, and made again":         {TestATopicIsDeletedEverywhere, TestADeletionWaitsForADeadReplica, TestATopicThatIsMadeAgainIsAnotherOne, TestATopicIsRemadeUnderLoad, TestAReplicaComesBackWithTheLogOfTheOldTopic},
	"the clock of one broker jumps":              {TestTheClockOfOneBrokerJumps, TestAProducerIsNotForgottenByAJump, TestABrokerStartsWithAWrongClock, TestChangesOfSettingsAreKeptForOthersWhateverTheClockSays},
	"somebody forges orders":                     {TestForgedOrdersAreRefusedAndTheSecretMayChange},
}
