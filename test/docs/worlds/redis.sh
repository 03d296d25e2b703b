# A Redis on 127.0.0.1:6379 that does not evict.
redis-server --port 6379 --maxmemory-policy noeviction --save '' > /dev/null &
until (: < /dev/tcp/127.0.0.1/6379) 2> /dev/null; do sleep 0.1; done
export REDIS_URL=redis://127.0.0.1:6379
