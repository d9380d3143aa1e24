package capture

// Kinds of names that a selection can be given, for FindCgroups and Names.
const (
	KindCgroup    = "cgroup"
	KindContainer = "container"
	KindPod       = "pod"
	KindUnit      = "unit"
	KindPID       = "pid"
	KindComm      = "comm"
	KindPort      = "port"
	KindNetNS     = "netns"
	KindUID       = "uid"
)
