if [ ! -e /etc/orchestrator/orchestrator.toml ]; then
    cat <<'END'
orchestrator-cli: jobs begin once there are settings:
  cp /usr/share/doc/orchestrator-cli/examples/orchestrator.toml /etc/orchestrator/   # then edit it
  sudo -u postgres psql -c 'CREATE ROLE "orchestrator-cli" LOGIN' -c 'GRANT pg_read_all_data TO "orchestrator-cli"'
  sudo -u orchestrator-cli orchestrator-cli check
END
fi
