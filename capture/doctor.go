package capture

// This file has what acc doctor is told by Diagnose.

// Standing says what a HostCheck means for a recording.
type Standing string

// The standings, best first.
const (
	StandingOK     Standing = "ok"
	StandingLess   Standing = "less"   // recording works, and shows less, costs more, or says less exactly when
	StandingBroken Standing = "broken" // recording is impossible
)

// Standings are all of them, best first.
var Standings = []Standing{StandingOK, StandingLess, StandingBroken}

// HostCheck is one thing on which recording depends, and how it is on this host.
type HostCheck struct {
	Name     string   `json:"check"`    // what was looked at: kernel, privileges, lockdown ...
	Standing Standing `json:"standing"` // what that means for a recording
	Found    string   `json:"found"`    // the state of it on this host
	Effect   string   `json:"effect"`   // what follows from it, "" if nothing does
	Remedy   string   `json:"remedy"`   // what to do about it, "" if there is nothing to do
}

// Diagnosis is all that Diagnose looked at.
type Diagnosis struct {
	Records bool        // a recording was made, and had in it what was done
	Mode    Mode        // kind of probes that record would use here, "" if none work
	Limits  []string    // what a recording here can't show, a sentence each
	Checks  []HostCheck // in the order in which they matter
}
