package objects

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
)

// An Aside is what [State.Import] had brought into a state, set aside for what may be
// better.
type Aside struct {
	state *State
	dir   string
	held  inventory
}

// SetAside empties a state of what was imported, before [State.Prepare]. What a killed
// run leaves of it is removed with old states.
func (s *State) SetAside() (_ *Aside, err error) {
	dir, err := os.MkdirTemp(filepath.Dir(s.dir), importing+"*")
	if err == nil {
		err = moveHeld(s.dir, dir)
	}
	if err != nil {
		return nil, fmt.Errorf("set kept state aside: %w", err)
	}
	a := &Aside{s, dir, s.held}
	s.held = nil
	return a, nil
}

// PutBack puts it in the place of what the state has by now.
func (a *Aside) PutBack() error {
	s := a.state
	s.held = nil
	err := errors.Join(removeHeld(s.dir), moveHeld(a.dir, s.dir))
	if err != nil {
		return fmt.Errorf("put kept state back: %w", err)
	}
	s.held = a.held
	return a.Drop()
}

// Drop removes it.
func (a *Aside) Drop() error { return os.RemoveAll(a.dir) }

// moveHeld moves what is kept, the record last, without which it is nothing.
func moveHeld(from, to string) error {
	for _, name := range append(slices.Clone(heldDirs), recordFile) {
		err := os.Rename(filepath.Join(from, name), filepath.Join(to, name))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// removeHeld removes what is kept, the record first.
func removeHeld(dir string) error {
	for _, name := range append([]string{recordFile}, heldDirs...) {
		if err := os.RemoveAll(filepath.Join(dir, name)); err != nil {
			return err
		}
	}
	return nil
}
