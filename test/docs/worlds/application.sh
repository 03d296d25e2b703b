# An application on 127.0.0.1:3000.
PORT=3000 node "$CLONE/examples/apps/node/headers.mjs" &
until (: < /dev/tcp/127.0.0.1/3000) 2> /dev/null; do sleep 0.1; done
