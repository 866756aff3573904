package engine

import "bnkit/engine/rundir"

// The files that tests of whole runs look at.
const (
	ConfigFile     = rundir.ConfigFile
	MetricsFile    = rundir.MetricsFile
	CheckpointFile = rundir.CheckpointFile
	ResumeFile     = rundir.ResumeFile
)
