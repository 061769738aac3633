package preflight

// managers install packages, in the order in which they are looked for.
var managers = []struct{ program, command string }{
	{"apt-get", "apt-get install -y "},
	{"dnf", "dnf install -y "},
	{"apk", "apk add "},
	{"zypper", "zypper install -y "},
	{"pacman", "pacman -S --noconfirm "},
}

// elsewhere are the names of Debian's packages where they are others.
var elsewhere = map[string]map[string]string{
	"uidmap": {"dnf": "shadow-utils", "apk": "shadow-uidmap", "zypper": "shadow", "pacman": "shadow"},
}

// install is the command that installs a package, by its name in Debian, on this
// host.
func (h Host) install(name string) string {
	for _, m := range managers {
		if _, err := h.LookPath(m.program); err != nil {
			continue
		}
		if other, ok := elsewhere[name][m.program]; ok {
			name = other
		}
		return h.root(m.command + name)
	}
	return "install " + name
}
