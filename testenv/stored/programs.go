package stored

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	"github.com/varvelog/varve/testenv/proc"
)

// The credentials of every server. They are no secret: the servers listen on loopback only
// and end with the process that started them.
const (
	AccessKey = "varve"
	SecretKey = "varve-on-loopback"
)

// versity is Versity S3 Gateway on a folder. (Apache-2.0)
var versity = Program{Name: "versitygw", command: "github.com/versity/versitygw/cmd/versitygw",
	run: func(dir, address string) (args, env []string, err error) {
		root := filepath.Join(dir, "root")
		if err := os.MkdirAll(root, 0o755); err != nil {
			return nil, nil, err
		}
		return []string{"--port", address, "--quiet", "posix", root},
			[]string{"ROOT_ACCESS_KEY=" + AccessKey, "ROOT_SECRET_KEY=" + SecretKey}, nil
	}}

// seaweed is SeaweedFS: a master, a volume server, a filer and its S3 gateway in one
// process. (Apache-2.0)
var seaweed = Program{Name: "seaweedfs", command: "github.com/seaweedfs/seaweedfs/weed",
	run: func(dir, address string) (args, env []string, err error) {
		type key struct {
			AccessKey string `json:"accessKey"`
			SecretKey string `json:"secretKey"`
		}
		type identity struct {
			Name        string   `json:"name"`
			Credentials []key    `json:"credentials"`
			Actions     []string `json:"actions"`
		}
		config, err := json.Marshal(map[string][]identity{"identities": {{"varve", []key{{AccessKey, SecretKey}}, []string{"Admin"}}}})
		if err != nil {
			return nil, nil, err
		}
		data, file := filepath.Join(dir, "data"), filepath.Join(dir, "s3.json")
		if err := os.MkdirAll(data, 0o755); err != nil {
			return nil, nil, err
		}
		if err := os.WriteFile(file, config, 0o600); err != nil {
			return nil, nil, err
		}
		args = []string{"server", "-dir=" + data, "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-master.telemetry=false",
			"-master.volumeSizeLimitMB=256", "-volume.max=0", "-filer", "-s3", "-s3.config=" + file, "-s3.port=" + portOf(address)}
		for _, name := range []string{"master.port", "master.port.grpc", "volume.port", "volume.port.grpc",
			"filer.port", "filer.port.grpc", "s3.port.grpc"} {
			free, err := proc.FreeAddr()
			if err != nil {
				return nil, nil, err
			}
			args = append(args, fmt.Sprintf("-%s=%s", name, portOf(free)))
		}
		return args, nil, nil
	}}
