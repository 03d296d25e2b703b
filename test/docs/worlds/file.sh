# A sidecar.yaml of the reader's own.
doorward init > /dev/null
