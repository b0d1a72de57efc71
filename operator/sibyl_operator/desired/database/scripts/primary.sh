# Where a read replica finds its primary, and which slot is its own: one for each pod of the StatefulSet.
PASSFILE=$DATABASE_RUN/passfile
SLOT=sibyl_replica_${POD_NAME##*-}
PRIMARY="host=$PRIMARY_HOST port=${PRIMARY_PORT:-5432} user=sibyl_replication passfile=$PASSFILE \
application_name=$SLOT connect_timeout=5 keepalives_idle=10 keepalives_interval=5 keepalives_count=3"
