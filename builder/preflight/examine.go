package preflight

// examinations is the table of [Examine], in the order in which the findings are
// shown. What starts a container is tried inside the namespaces, by others.
var examinations = []check{
	{"kernel", kernelRelease},
	{UserNamespaces, userNamespaces},
	{SubordinateIDs, triedIDs},
	{"store", storePlace},
	{"cache", cachePlace},
	{"temporary files", temporaryPlace},
	{"home directory", homePlace},
	{"runtime directory", runtimePlace},
	{"limits", limits},
	{"git", gitProgram},
	{"clock", clock},
}

// Examine looks at all that a build needs of a host but for what only the
// namespaces can show. It changes nothing.
func Examine(h Host) []Finding { return run(h, examinations) }

// Worst is the worst of the findings.
func Worst(findings []Finding) Severity {
	worst := Fine
	for _, f := range findings {
		worst = max(worst, f.Severity)
	}
	return worst
}
