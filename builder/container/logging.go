package container

import (
	"fmt"
	"io"

	"github.com/sirupsen/logrus"
)

// A LevelError says that there is no such log level.
type LevelError struct{ Level string }

func (e *LevelError) Error() string { return fmt.Sprintf("log level %q is not known", e.Level) }

// SetLogging sets what the libraries log, by the names of their levels: panic,
// fatal, error, warn, info, debug, trace. They share one logger.
func SetLogging(level string, w io.Writer) error {
	l, err := logrus.ParseLevel(level)
	if err != nil {
		return &LevelError{level}
	}
	logrus.SetLevel(l)
	logrus.SetOutput(w)
	return nil
}

func logger() *logrus.Logger { return logrus.StandardLogger() }
