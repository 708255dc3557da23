package cli

import (
	"github.com/spf13/cobra"

	"github.com/varvelog/varve/cmd/internal/config"
)

const serveLong = `Run a node of a varve cluster until SIGINT or SIGTERM.

Without flags it runs every role in this process, with a bucket in a local folder,
listening on loopback. Before it ends, it flushes all acknowledged records; a second
signal ends it at once.

Each setting is a flag, an environment variable (--flush-interval is
VARVE_FLUSH_INTERVAL) and a key of the YAML file given with --config
(flush-interval: 250ms). A flag wins over the environment, the environment over
the file, the file over the default. --print-config shows the result.

Buckets:
  file:///path                      a folder
  s3://bucket/prefix                Amazon S3, or another store at endpoint=; options
                                    after a ?, joined by &: region=eu-central-1,
                                    endpoint=https://host:port, path-style=true
  minio://host:port/bucket/prefix   a store that speaks S3; ?secure=false without TLS

Quote a bucket with options: shells give ? and & meanings of their own.

Credentials come from AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY or the files of the
AWS tools; for s3:// also from all other sources of these tools, as the role of a
machine or a pod, for minio:// also from MINIO_ROOT_USER and MINIO_ROOT_PASSWORD or the
files of the MinIO client. Settings never hold them, and a password in a setting is
never shown.

Over HTTP, at --http: /healthz (the process is alive), /readyz (it serves clients; if
not, the work it is busy with), /metrics (for Prometheus) and /status (JSON, which
"varve cluster status" shows).

Exit codes are 0 when a signal stopped it and it ended in good order, 1 when it could
not go on and starting it again may help, 2 for wrong settings, and 5 when something
else has to be changed first; 4 below feature level 3, where one node writes, when
another one has taken over. A supervisor must not start it again after 2, 4 and 5:
after 4 it would depose the other node.`

func newServe(env *Env) *cobra.Command {
	var file, output string
	var printConfig bool
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Run a node",
		Long:  serveLong,
		Example: `  varve serve
  varve serve --bucket 's3://events/prod?region=eu-central-1'
  varve serve --bucket 'minio://127.0.0.1:9000/events/prod?secure=false' --create-bucket
  varve serve --listen 0.0.0.0:9092 --advertise logs.example.net:9092 --insecure-listen
  varve serve --print-config -o yaml > varve.yaml
  varve serve --config varve.yaml --print-config`,
		Args: args(cobra.NoArgs, "no arguments"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			resolved, err := config.Load(cmd.Flags(), env.Environ, file)
			if err != nil {
				return usageError{err}
			}
			if printConfig {
				return resolved.Print(env.Stdout, output)
			}
			if err := env.Serve(cmd.Context(), resolved.Serve, env.Stdout, env.Stderr); err != nil {
				return servedError{err}
			}
			return nil
		},
	}
	flags := cmd.Flags()
	flags.SortFlags = false
	config.AddFlags(flags)
	flags.StringVar(&file, "config", "", "YAML `file` with settings")
	flags.BoolVar(&printConfig, "print-config", false, "print each setting, its value and where it comes from, and exit")
	choice(cmd, &output, "output", "o", "table", "format of --print-config", "table", "json", "yaml")
	completeServe(cmd)
	return cmd
}
