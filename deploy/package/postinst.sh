if [ ! -e /etc/orchestrator/orchestrator.toml ]; then
    cat <<'END'
orchestrator-cli: jobs begin once there are settings:
  orchestrator-cli config init
  sudo -u postgres psql -c 'CREATE ROLE "orchestrator-cli" LOGIN' -c 'GRANT pg_read_all_data TO "orchestrator-cli"'
  sudo -u orchestrator-cli orchestrator-cli check
END
fi
