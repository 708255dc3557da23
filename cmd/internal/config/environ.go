package config

import (
	"fmt"
	"regexp"
	"strings"
)

const (
	envPrefix = "VARVE_"

	// EnvBootstrap is the environment variable behind --bootstrap of the
	// commands that are Kafka clients. It is not a setting of serve.
	EnvBootstrap = envPrefix + "BOOTSTRAP"
)

// serviceVariable matches variables that Kubernetes sets in every pod of a
// namespace with a Service whose name begins with "varve". Examples are
// VARVE_SERVICE_HOST and VARVE_PORT_9092_TCP_ADDR. They are not meant as
// settings.
// https://kubernetes.io/docs/tutorials/services/connect-applications-service/#environment-variables
var serviceVariable = regexp.MustCompile(
	`^VARVE_([A-Z0-9_]+_)?(SERVICE_HOST|SERVICE_PORT(_[A-Z0-9_]+)?|PORT(_[0-9]+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?)$`)

// buildVariable matches variables that the project's Makefile and tests use. A
// node started from there has them in its environment.
var buildVariable = regexp.MustCompile(`^VARVE_(BIN|MINIO_BIN|TEST_[A-Z]+)$`)

// settingOf is the name of the setting that an environment variable would have.
func settingOf(env string) string {
	return strings.ToLower(strings.ReplaceAll(strings.TrimPrefix(env, envPrefix), "_", "-"))
}

// readEnviron returns the VARVE_ variables of an environment. One that belongs
// to no setting is an error: a misspelt variable must not be ignored in
// silence.
func readEnviron(environ []string) (map[string]Value, error) {
	byEnv := make(map[string]setting, len(settings))
	known := make([]string, 0, len(settings))
	for _, st := range settings {
		byEnv[st.env()] = st
		known = append(known, st.env())
	}
	values := map[string]Value{}
	for _, entry := range environ {
		name, value, _ := strings.Cut(entry, "=")
		if !strings.HasPrefix(name, envPrefix) || name == EnvBootstrap ||
			serviceVariable.MatchString(name) || buildVariable.MatchString(name) {
			continue
		}
		st, ok := byEnv[name]
		if remedy, was := removed[settingOf(name)]; was {
			return nil, fmt.Errorf("environment variable %s is not a setting any more; %s", name, remedy)
		}
		if !ok {
			return nil, fmt.Errorf("environment variable %s is not a setting; the nearest is %s: rename or unset it", name, nearest(name, known))
		}
		values[st.name] = Value{st.name, value, "environment " + name}
	}
	return values, nil
}
