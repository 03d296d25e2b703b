# The folder is a clone. Its node_modules are those that the tests run from, so `npm ci` says only what it would do here: that
# package.json and package-lock.json agree. `.ci/run` begins with the real one.
npm() { if [ "$1" = ci ]; then command npm "$@" --dry-run --offline; else command npm "$@"; fi; }
