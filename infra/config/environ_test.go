package config

import (
	"slices"
	"testing"
)

func TestChildEnviron(t *testing.T) {
	for _, name := range []string{"KLIVE_BUS_PASSWORD", "AWS_SECRET_ACCESS_KEY", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "ECS_AGENT_URI"} {
		t.Setenv(name, "secret")
	}
	t.Setenv("LIBVA_DRIVER_NAME", "iHD")
	env := ChildEnviron()
	if slices.ContainsFunc(env, func(v string) bool { return len(v) > 7 && v[len(v)-7:] == "=secret" }) || !slices.Contains(env, "LIBVA_DRIVER_NAME=iHD") {
		t.Errorf("the environment is %q", env)
	}
}
