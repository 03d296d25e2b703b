# A machine of the reader's own, to install things on: /etc and /opt of this page alone, and a file with the URL of Redis.
mkdir -p .machine/opt
cp -a /etc .machine/etc 2> /dev/null || true     # who is not root cannot read all of it
mkdir -p .machine/etc/systemd/system
mount --bind .machine/etc /etc
mount --bind .machine/opt /opt
printf %s "$REDIS_URL" > redis-url
