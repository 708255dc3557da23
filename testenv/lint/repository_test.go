package lint_test

import (
	"os"
	"testing"

	"github.com/varvelog/varve/testenv/lint"
)

func TestRepositoryKeepsTheRules(t *testing.T) {
	findings, err := lint.Check(os.DirFS("../.."))
	if err != nil {
		t.Fatal(err)
	}
	for _, finding := range findings {
		t.Error(finding)
	}
}
