package container

import (
	"fmt"
	"io"

	"github.com/sirupsen/logrus"
)

// SetLogging sets what the libraries log, by the names of their levels: panic,
// fatal, error, warn, info, debug, trace. They share one logger.
func SetLogging(level string, w io.Writer) error {
	l, err := logrus.ParseLevel(level)
	if err != nil {
		return withHint(fmt.Errorf("log level %q is not known", level), "levels are fatal, error, warn, info, debug and trace")
	}
	logrus.SetLevel(l)
	logrus.SetOutput(w)
	return nil
}

func logger() *logrus.Logger { return logrus.StandardLogger() }
