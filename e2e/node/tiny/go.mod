// One small static program for the node's own images: the sandbox of every pod, and the pods of the self-check.
module sibyl.dev/e2e/node/tiny

go 1.26.0
